"""Demo clinics and the big data set: generated deterministically, loaded through the schema's own constraints."""
