package orphan_test

import (
	"context"
	"os/exec"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/orphan"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// TestStartedProcesses checks that the exit status of a started process isn't lost, however many end at once.
func TestStartedProcesses(t *testing.T) {
	r := orphan.New()
	defer task.Start(context.Background(), r.Run).Close()
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			for range 5 {
				cmd := exec.Command("sh", "-c", "exit 7")
				if err := r.Start(cmd); err != nil {
					t.Error(err)
					continue
				}
				if err := r.Wait(cmd); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
					t.Errorf("%v, want exit code 7", err)
				}
			}
		})
	}
	running.Wait()
}
