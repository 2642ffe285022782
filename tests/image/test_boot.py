"""What an emulated machine is made of."""

from image.boot import without


def test_a_device_that_is_hidden_is_found_by_no_driver_and_nothing_else_moves():
    tree = b"\0brcm,pm\0brcm,pm-wdt\0brcm,pmu\0"
    assert without(tree, ["brcm,pm"]) == b"\0-------\0brcm,pm-wdt\0brcm,pmu\0"
    assert without(tree, ["brcm,pm", "brcm,pm-wdt"]) == b"\0-------\0-----------\0brcm,pmu\0"
