"""What is needed to run the flows unattended, beside `prefect.yaml`."""
