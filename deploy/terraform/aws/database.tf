# Aurora PostgreSQL in three zones: a writer, two that take over. TLS or nothing; no value of a statement is logged.
resource "aws_db_subnet_group" "this" {
  name       = local.name
  subnet_ids = [for zone in range(3) : aws_subnet.this["database-${zone}"].id]
}

resource "aws_rds_cluster_parameter_group" "this" {
  name   = local.name
  family = "aurora-postgresql16"

  dynamic "parameter" {
    for_each = {
      "rds.force_ssl"                       = "1"
      "ssl_min_protocol_version"            = "TLSv1.2"
      "password_encryption"                 = "scram-sha-256"
      "log_statement"                       = "ddl"
      "log_min_duration_statement"          = "1000"
      "log_parameter_max_length"            = "0"
      "log_parameter_max_length_on_error"   = "0"
      "log_connections"                     = "1"
      "idle_in_transaction_session_timeout" = "60000"
    }
    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = "pending-reboot"
    }
  }
}

resource "aws_rds_cluster" "this" {
  #checkov:skip=CKV_AWS_162:the vault signs in with a password (store.password_file); nobody is given rds-db:connect, so this is one way in less
  #checkov:skip=CKV2_AWS_8:Aurora's own backups go back 35 days to any second
  #checkov:skip=CKV2_AWS_27:log_statement and log_min_duration_statement are set in the dynamic block above, which the check does not read
  cluster_identifier                  = local.name
  engine                              = "aurora-postgresql"
  engine_version                      = "16"
  database_name                       = "strongroom"
  master_username                     = "administrator"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = aws_kms_key.storage["secrets"].arn
  iam_database_authentication_enabled = false
  db_subnet_group_name                = aws_db_subnet_group.this.name
  db_cluster_parameter_group_name     = aws_rds_cluster_parameter_group.this.name
  vpc_security_group_ids              = [aws_security_group.database.id]
  storage_encrypted                   = true
  kms_key_id                          = aws_kms_key.storage["database"].arn
  backup_retention_period             = 35
  copy_tags_to_snapshot               = true
  deletion_protection                 = true
  skip_final_snapshot                 = false
  final_snapshot_identifier           = "${local.name}-final"
  enabled_cloudwatch_logs_exports     = ["postgresql"]
}

resource "aws_rds_cluster_instance" "this" {
  count                           = 3
  identifier                      = "${local.name}-${count.index}"
  cluster_identifier              = aws_rds_cluster.this.id
  engine                          = aws_rds_cluster.this.engine
  engine_version                  = aws_rds_cluster.this.engine_version
  instance_class                  = var.database_instance_class
  availability_zone               = var.zones[count.index]
  publicly_accessible             = false
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  performance_insights_kms_key_id = aws_kms_key.storage["database"].arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.database_monitoring.arn
}
