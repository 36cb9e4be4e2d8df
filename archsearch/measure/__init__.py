"""What a candidate costs: counted, and measured on the device at hand."""
