"""The serial console: the words of the `pocket` command on a cable, and Improv over the same port."""
