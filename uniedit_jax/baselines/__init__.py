"""The paper's comparison methods on the same UNet, where injections alone cannot express them."""
