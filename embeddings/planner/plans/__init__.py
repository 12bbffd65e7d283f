"""Plans: found or fixed, described, stored in a file, compared."""
