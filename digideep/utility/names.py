"""Readable, unique names of sessions."""

import random
from datetime import datetime

_ADJECTIVES = (
    "agile amber brave bright calm candid clever cosmic crisp curious daring deft eager earnest fair fearless fleet "
    "frank gentle gifted golden happy honest humble jolly keen kind lively lucid mellow merry mighty nimble noble "
    "patient polite proud quick quiet rapid serene sharp silent silver sober solid steady sunny swift tidy vivid wise"
)
_SURNAMES = (
    "abel ampere babbage barto bayes bellman bernoulli bohr boltzmann boole cantor cauchy church curie darwin dijkstra "
    "einstein euclid euler faraday fermat fermi feynman fourier franklin galois gauss germain godel hamilton hilbert "
    "hopper hypatia jacobi kalman kepler kolmogorov kovalevskaya lagrange laplace leibniz lovelace markov maxwell "
    "minsky nash newton noether pascal pontryagin ramanujan riemann shannon sutton tesla turing watkins wiener"
)


def session_name(now: datetime) -> str:
    """Return `session_YYYYMMDDHHMMSS_<adjective>_<surname>`, drawn from the system's entropy, not from a seed."""
    draw = random.SystemRandom()
    return f"session_{now:%Y%m%d%H%M%S}_{draw.choice(_ADJECTIVES.split())}_{draw.choice(_SURNAMES.split())}"
