"""Small asyncio tools: batching, ordered mapping, memory budgets, cancellation."""
