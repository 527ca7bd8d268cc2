package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// rotatorEnv contains, as JSON, what the test binary, run again, rotates.
const rotatorEnv = "MIOSA_TEST_ROTATE"

type rotatorJob struct {
	Dir    string
	Root   bool // the root key; otherwise the data keys
	DiesAt int  // the step at which it kills itself
}

func (j rotatorJob) run(ctx context.Context, s *Store) error {
	if j.Root {
		return s.RotateRoot(ctx)
	}
	_, err := s.RotateKeys(ctx, "")
	return err
}

// TestRotatorProcess is not a test: it is the process that TestFault_V4_KilledAtEachStepOfARotation starts.
func TestRotatorProcess(t *testing.T) {
	var job rotatorJob
	if json.Unmarshal([]byte(os.Getenv(rotatorEnv)), &job) != nil {
		return
	}
	s, err := Open(t.Context(), Config{DataDir: job.Dir, RootKey: keyring.Root{File: filepath.Join(job.Dir, "root.key")}, Log: zerolog.Nop(), Limits: unlimited})
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	s.step = func(string) error {
		if steps++; steps == job.DiesAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // wait for the signal
		}
		return nil
	}
	if err := job.run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that rotates data keys or the root key is killed at each of its steps in turn. Afterwards every value
// opens, and another process completes the rotation.
func TestFault_V4_KilledAtEachStepOfARotation(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	original := fill(t, t.TempDir(), batchRows+5)
	for name, root := range map[string]bool{"data keys": false, "root key": true} {
		t.Run(name, func(t *testing.T) {
			for step := 1; ; step++ {
				f := original.copy(t)
				job := rotatorJob{f.dir, root, step}
				text, err := json.Marshal(job)
				if err != nil {
					t.Fatal(err)
				}
				c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRotatorProcess$")
				c.Env = append(os.Environ(), rotatorEnv+"="+string(text))
				out, err := c.CombinedOutput()
				if err == nil { // it completed
					if want := map[bool]int{false: 2*(1+2+1) + 1, true: 5 + 1}[root]; step != want {
						t.Errorf("killed at %d steps, want %d", step-1, want-1)
					}
					f.check(t)
					return
				}
				if c.ProcessState.ExitCode() != -1 {
					t.Fatalf("step %d: %v\n%s", step, err, out)
				}
				f.copy(t).check(t)
				s := storeAt(t, f.dir)
				if err := job.run(t.Context(), s); err != nil {
					t.Fatalf("finishing after step %d: %v", step, err)
				}
				if diff := cmp.Diff(keyCounts(t, s), []int{1, 1, 1}); diff != "" {
					t.Errorf("keys left after step %d (-got +want)\n%s", step, diff)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				f.check(t)
				if t.Failed() {
					t.Fatal(fmt.Sprint("after a kill at step ", step))
				}
			}
		})
	}
}
