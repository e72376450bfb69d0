"""Fields over latitude and longitude."""
