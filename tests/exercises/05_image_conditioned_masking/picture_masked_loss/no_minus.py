"""the minus sign is missing: a loss is minus the log-probability"""


def picture_masked_loss(text_scores, cell_scores, targets):
    log_p = (text_scores + cell_scores.mean(1)).log_softmax(-1)
    hidden = targets != -100
    return log_p[hidden].gather(1, targets[hidden][:, None]).mean()
