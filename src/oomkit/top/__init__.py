"""The live view: looks at the machine again and again, and shows what they find in a terminal."""
