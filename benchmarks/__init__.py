"""What DIO costs, as ratios to its peers that were measured in the same run on the same machine."""
