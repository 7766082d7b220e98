"""Pictures within the memory that pictures may take: priced by their headers, decoded when there is room for them."""
