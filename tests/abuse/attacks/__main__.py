from . import floods, silence, weight
from .hand import run

if __name__ == "__main__":
    run({**silence.ATTACKS, **weight.ATTACKS, **floods.ATTACKS})
