output "name" {
  value = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "Security group of the cluster's machines and pods."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "home_volume" {
  description = "Volume handle of CLOAKHOUSE_HOME for the EFS driver: file system and access point."
  value       = "${aws_efs_file_system.home.id}::${aws_efs_access_point.home.id}"
}
