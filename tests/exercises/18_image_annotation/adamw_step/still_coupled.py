"""the decay goes through the gradient: shrink the weights beside the step"""


def adamw_step(theta, gradient, m, q, t, lr, decay):
    gradient = gradient + decay * theta
    m, q = 0.9 * m + 0.1 * gradient, 0.999 * q + 0.001 * gradient**2
    return theta - lr * (m / (1 - 0.9**t)) / ((q / (1 - 0.999**t)).sqrt() + 1e-8), m, q
