package cli

import "github.com/Miosa-osa/miosa-env/internal/inherited"

func stdoutWasClosed() bool { return inherited.Closed(1) }
