"""What a guard leaves behind, read: the store, journals, recordings and their replay."""
