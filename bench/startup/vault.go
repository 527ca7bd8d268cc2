package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// vaultStart is how long a vault may take to be ready.
const vaultStart = 30 * time.Second

// devVault is a running miosa-vault dev.
type devVault struct {
	cmd *exec.Cmd
	url string   // without the API's path
	env []string // of a program in the sandbox
}

// startVault starts a vault in which one sandbox has so many bindings.
func startVault(ctx context.Context, bin, dir string, bindings int) (*devVault, error) {
	seed := filepath.Join(dir, fmt.Sprintf("%d.env", bindings))
	var lines strings.Builder
	for i := range bindings {
		fmt.Fprintf(&lines, "BOUND_VARIABLE_%03d=a-value-of-forty-characters-as-keys-%05d\n", i, i)
	}
	if err := os.WriteFile(seed, []byte(lines.String()), 0o600); err != nil {
		return nil, err
	}
	v := &devVault{cmd: exec.CommandContext(ctx, filepath.Join(bin, "miosa-vault"), "dev", "--resource", "sandbox:sb_bench", "--seed", seed)}
	v.cmd.Cancel = func() error { return v.cmd.Process.Signal(syscall.SIGTERM) }
	v.cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	v.cmd.Stderr = &stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	late := time.AfterFunc(vaultStart, func() { _ = v.cmd.Process.Kill() })
	exports, err := readExports(out)
	if !late.Stop() || err != nil {
		err = errors.Join(err, v.stop())
		return nil, fmt.Errorf("miosa-vault dev: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	v.url = strings.TrimSuffix(exports["MIOSA_BASE_URL"], "/api/v1")
	v.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	for _, name := range []string{"MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"} {
		v.env = append(v.env, name+"="+exports[name])
	}
	return v, nil
}

func (v *devVault) stop() error {
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return v.cmd.Wait()
}

// readExports reads the lines "export NAME=value" up to "# ready".
func readExports(r io.Reader) (map[string]string, error) {
	exports := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if lines.Text() == "# ready" {
			for _, name := range []string{"MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"} {
				if exports[name] == "" {
					return nil, fmt.Errorf("no %s printed", name)
				}
			}
			return exports, nil
		}
		if line, ok := strings.CutPrefix(lines.Text(), "export "); ok {
			name, value, _ := strings.Cut(line, "=")
			exports[name] = strings.Trim(value, `'"`)
		}
	}
	return nil, errors.New("ended before it was ready")
}
