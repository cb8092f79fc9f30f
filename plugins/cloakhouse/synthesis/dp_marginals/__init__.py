"""The engine `dp-marginals`: noisy marginals under a guarantee per unit of privacy, and rows sampled from them."""
