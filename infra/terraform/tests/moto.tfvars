# What moto does not have.
enable_autoscaling    = false
enable_volume_backups = false
