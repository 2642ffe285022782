"""`python -m appliance.cli` is `pocket`."""

from appliance.cli import main

main(prog_name="pocket")
