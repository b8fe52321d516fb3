"""The embedded broker through aiokafka; what Apache Kafka does as well is tested on both."""
