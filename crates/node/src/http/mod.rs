//! The HTTP server for people, probes and Prometheus.
