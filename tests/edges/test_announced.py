"""What the configuration and the box say of themselves reaches what is announced."""

from appliance.config import Config
from appliance.edges.settings import Announced, discovery_settings


def test_the_sites_id_and_name_and_the_boxs_own_are_announced():
    place = Announced("k7d2m9qa", 4711, ("0.0.0.0",), site_id="s1tes1te")
    made = discovery_settings(Config(name="Home"), place)
    assert (made.site, made.site_id, made.box_id, made.port) == ("Home", "s1tes1te", "k7d2m9qa", 4711)
    assert made.listen == ("0.0.0.0",)
