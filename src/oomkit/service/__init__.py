"""The guard as a service of this machine: installed by its init system, armed, and removed."""
