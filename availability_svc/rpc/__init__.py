"""The wire: requests into questions, answers into replies."""
