// Egress measures what a broker costs a client: small requests on kept connections, in HTTP/1.1 and HTTP/2, through the broker's
// proxy with a secret in each request, and through its floor, the same program that only decrypts and encrypts. Each proxy is a
// process of its own; client and server share another. Rounds alternate, so compare the ratios within a run.
//
//	egress [-seconds N] [-rounds N] [-clients N]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	clients := flags.Int("clients", 16, "requests at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	up, err := newUpstream()
	if err != nil {
		return err
	}
	defer up.Close() //nolint:errcheck // the program ends
	var proxies []*process
	for _, c := range []setup{{Name: "floor"}, {Name: "broker", Rules: true}} {
		c.Port, c.Roots = up.port, up.authority.PEM()
		p, err := start(ctx, c)
		if err != nil {
			return err
		}
		defer p.stop()
		proxies = append(proxies, p)
	}
	fmt.Printf("%-10s %-9s %12s %9s %9s %14s\n", "proxy", "protocol", "requests/s", "p50", "p99", "CPU of proxy") //nolint:forbidigo // its output
	for _, h2 := range []bool{false, true} {
		results := make([]result, len(proxies))
		for round := range *rounds {
			for i := range proxies {
				i = (i + round) % len(proxies)
				if err := results[i].measure(ctx, proxies[i], up, h2, *clients, time.Duration(*seconds*float64(time.Second))); err != nil {
					return err
				}
			}
		}
		for i, r := range results {
			protocol := "HTTP/1.1"
			if h2 {
				protocol = "HTTP/2"
			}
			fmt.Printf("%-10s %-9s %12.0f %7.2fms %7.2fms %11.0f µs   %s\n", proxies[i].Name, protocol, r.rate(), r.percentile(50), r.percentile(99), r.cpu(), r.to(results[0])) //nolint:forbidigo // its output
		}
	}
	return nil
}
