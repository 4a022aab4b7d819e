"""Demo clinics and the big data set: the example file imported many times over, and diaries loaded in bulk."""
