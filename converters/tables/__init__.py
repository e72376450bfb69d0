"""Tables: data sets in Parquet files, as the Hugging Face hub has them."""
