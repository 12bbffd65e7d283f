"""Studies over rolling origins: train to a day, choose on the next, test on the one after."""
