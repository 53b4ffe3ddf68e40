"""The modelled machine: plays a scenario from event to event."""
