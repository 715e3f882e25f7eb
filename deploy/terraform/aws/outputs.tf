output "database_host" {
  description = "store.host"
  value       = aws_rds_cluster.this.endpoint
}

output "kms_key" {
  description = "kms.key"
  value       = aws_kms_alias.data.name
}

output "log_bucket" {
  description = "audit.bucket.name"
  value       = aws_s3_bucket.log.bucket
}

output "proxy_addresses" {
  description = "Where PSPs see calls come from, for their allow lists."
  value       = aws_eip.nat[*].public_ip
}

output "security_groups" {
  description = "For the cluster's nodes or pods."
  value       = { vault = aws_security_group.vault.id, proxy = aws_security_group.proxy.id }
}
