# What AWS alone can see. What the programs see is in their own metrics.
resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.storage["alarms"].arn
}

resource "aws_sns_topic_subscription" "alarms" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "events.amazonaws.com"] }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each = {
    CPUUtilization            = { statistic = "Average", operator = "GreaterThanThreshold", threshold = 80 }
    FreeableMemory            = { statistic = "Minimum", operator = "LessThanThreshold", threshold = 1073741824 }
    AuroraReplicaLag          = { statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 1000 }
    CommitLatency             = { statistic = "Average", operator = "GreaterThanThreshold", threshold = 50 }
    DatabaseConnections       = { statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 200 }
    MaximumUsedTransactionIDs = { statistic = "Maximum", operator = "GreaterThanThreshold", threshold = 1000000000 }
  }
  alarm_name          = "${local.name}-database-${each.key}"
  namespace           = "AWS/RDS"
  metric_name         = each.key
  dimensions          = { DBClusterIdentifier = aws_rds_cluster.this.cluster_identifier }
  statistic           = each.value.statistic
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "missing"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# Whoever touches a key, the bucket's lock or the roles: at once, by its trail. It needs a trail of management events in the account.
resource "aws_cloudwatch_event_rule" "touched" {
  name = "${local.name}-touched"
  event_pattern = jsonencode({
    source = ["aws.kms", "aws.s3", "aws.iam"]
    detail = {
      eventName = [
        "DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "CreateGrant", "DisableKeyRotation", "UpdateAlias", "DeleteAlias",
        "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketObjectLockConfiguration", "PutBucketVersioning", "DeleteBucket",
        "CreateAccessKey", "PutUserPolicy", "AttachUserPolicy", "PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy",
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "touched" {
  rule = aws_cloudwatch_event_rule.touched.name
  arn  = aws_sns_topic.alarms.arn
}
