"""How things are shown, whatever they are: quantities, the terminal, bars, layout, pages."""
