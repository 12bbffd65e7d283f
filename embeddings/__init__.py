"""The sparse half: features, tables, sharding. Imports no other package of homerec."""
