"""Average the weights of several stages of a run, or of several runs that went on from the same weights.

    python scripts/average.py A.safetensors B.safetensors --shares 0.8 0.2 --out runs/mean.safetensors

The mean lacks the extremes that the last stage of a run may have, and often loses a hundredth of a dB or less by that. The mean of
two runs from the same weights can be better than both. Evaluate the result: networks that were trained independently have a mean
too, but not a useful one.
"""

import argparse
import sys
from pathlib import Path

from vs_paragonsr2.checkpoints.network import load_network
from vs_paragonsr2.network import ParagonSR2
from vs_paragonsr2.support.errors import ParagonSR2Error
from vs_paragonsr2.training.span import average, balance
from vs_paragonsr2.training.trainer import save_checkpoint

LIMIT = 4096
"""What products are balanced to, which is the ``train.span.limit`` of the models that ship."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--shares", nargs="+", type=float, help="the share of each checkpoint, 1 in all (default: equal shares)")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    arguments = parser.parse_args()
    try:
        mean = mean_of(arguments.checkpoints, arguments.shares)
    except ParagonSR2Error as error:
        sys.exit(f"average: {error}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(mean, arguments.out)


def mean_of(paths: list[Path], shares: list[float] | None) -> ParagonSR2:
    """The balanced mean. Raises ParagonSR2Error where the networks are of different kinds, or the shares are not one for each."""
    shares = shares or [1 / len(paths)] * len(paths)
    if len(shares) != len(paths) or abs(sum(shares) - 1) > 1e-6:
        raise ParagonSR2Error(f"--shares is {shares}: expected {len(paths)} numbers, one for each checkpoint, that are 1 in all")
    networks: list[ParagonSR2] = []
    for path in paths:
        network = load_network(path)
        if not isinstance(network, ParagonSR2):
            raise ParagonSR2Error(f"{path} is of version {network.version}: expected 9 to 11")
        if networks and what_is(network) != what_is(networks[0]):
            raise ParagonSR2Error(f"{path} is {what_is(network)}: expected {what_is(networks[0])}, as {paths[0]} is")
        networks.append(network)
    mean = average(networks, shares)
    balance(mean, LIMIT)
    return mean


def what_is(network: ParagonSR2) -> str:
    """In words, what networks must have in common to be averaged."""
    return f"{network.description}, with alpha {network.alpha}"


if __name__ == "__main__":
    main()
