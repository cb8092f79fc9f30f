# The key service: integrated storage, TLS 1.3 alone. It starts sealed; README.md tells how it is unsealed.
ui = false
api_addr = "https://openbao:8200"
cluster_addr = "https://openbao:8201"
storage "raft" {
  path    = "/openbao/file"
  node_id = "one"
}
listener "tcp" {
  address         = "0.0.0.0:8200"
  tls_cert_file   = "/run/secrets/openbao.crt"
  tls_key_file    = "/run/secrets/openbao.key"
  tls_min_version = "tls13"
}
