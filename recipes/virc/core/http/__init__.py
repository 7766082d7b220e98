"""HTTP as every room speaks it: the hub, endpoints, remote tools and judges."""
