// Egress measures what a broker costs a client, next to its floor, the same program that only decrypts and encrypts, and to other
// proxies that replace the placeholder: goproxy, and mitmproxy if it is installed. Each proxy is a process of its own; client and server
// share another. Rounds alternate, so compare the ratios within a run. Run it in the folder of the repository.
//
//	egress [-seconds N] [-rounds N] [-clients N] [-port N] [-only TEXT]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		err = serve(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "egress: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("egress", flag.ContinueOnError)
	seconds := flags.Float64("seconds", 1, "how long each measurement takes")
	rounds := flags.Int("rounds", 3, "how often each measurement is made")
	clients := flags.Int("clients", 16, "small requests at the same time")
	port := flags.Int("port", 0, "`port` of the server, to slow it down in a network of its own; 0: any")
	only := flags.String("only", "", "measure only what has this text in its name")
	if err := flags.Parse(args); err != nil {
		return err
	}
	up, err := newUpstream(*port)
	if err != nil {
		return err
	}
	defer up.Close() //nolint:errcheck // the program ends
	dir, err := os.MkdirTemp("", "bench-egress-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the program ends
	startProxy := func(name string) (*process, error) {
		own, err := os.MkdirTemp(dir, name+"-*")
		if err != nil {
			return nil, err
		}
		return start(ctx, setup{Name: name, Port: up.port, Roots: up.authority.PEM(), Placeholder: placeholder, Value: value}, own)
	}
	proxies := map[string]*process{}
	for _, name := range []string{direct, floor, broker, unchanged, goproxy, mitmproxy} {
		p, err := startProxy(name)
		if err != nil {
			return err
		}
		if p == nil {
			say("%s is not installed.", name)
			continue
		}
		defer p.stop()
		proxies[name] = p
	}
	load, _ := os.ReadFile("/proc/loadavg")
	say("Load of the machine before the run: %.14s", load)
	say("\n| | proxy | rate | p50 | p99 | CPU of the proxy for a request | rate to the first | CPU to the first |\n|---|---|---|---|---|---|---|---|")
	for _, k := range kinds {
		if !strings.Contains(k.name, *only) {
			continue
		}
		var names []string
		for _, name := range k.proxies {
			if proxies[name] != nil {
				names = append(names, name)
			}
		}
		results := make([]result, len(names))
		for round := range *rounds {
			for i := range names {
				i = (i + round) % len(names)
				if err := k.measure(ctx, &results[i], proxies[names[i]], up, *clients, time.Duration(*seconds*float64(time.Second))); err != nil {
					return fmt.Errorf("%s: %w", k.name, err)
				}
			}
		}
		for i := range names {
			say("%s", k.row(names[i], &results[i], &results[0]))
		}
	}
	if !strings.Contains("streams", *only) {
		return nil
	}
	say("\n| %d open streams | memory for each |\n|---|---|", streams)
	for _, h2 := range []bool{false, true} {
		for _, name := range all {
			if proxies[name] == nil || h2 && name == goproxy {
				continue
			}
			p, err := startProxy(name) // without garbage of other measurements
			if err != nil {
				return err
			}
			took, err := openStreams(ctx, p, up, h2)
			p.stop()
			if err != nil {
				return fmt.Errorf("streams through %s: %w", name, err)
			}
			say("| %s, HTTP/%d | %.1f KiB |", name, map[bool]int{false: 1, true: 2}[h2], float64(took)/streams/1024)
		}
	}
	return nil
}

func say(format string, args ...any) {
	fmt.Printf(format+"\n", args...) //nolint:forbidigo // the output of the program
}
