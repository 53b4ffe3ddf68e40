"""TOML files people write: tables read key by key, units, faults with their place."""
