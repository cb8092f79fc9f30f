"""The control database: deliveries, partitions, published versions. Rows describe data and never hold any."""
