"""the mean of squares starts at zero too: divide it by 1 − β₂ᵗ"""


def adamw_step(theta, gradient, m, q, t, lr, decay):
    m, q = 0.9 * m + 0.1 * gradient, 0.999 * q + 0.001 * gradient**2
    return (1 - lr * decay) * theta - lr * (m / (1 - 0.9**t)) / (q.sqrt() + 1e-8), m, q
