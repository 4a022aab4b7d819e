"""Free time: searched, listed and explained from projections that follow the truth within milliseconds."""
