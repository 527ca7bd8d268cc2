package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/Miosa-osa/miosa-env/bench/quantile"
)

// row is a program and the samples of its runs, one for each round.
type row struct {
	name    string
	argv    []string
	env     []string
	floor   *row    // to compare with; nil: the row is a floor
	most    float64 // target for the ratio to floor
	samples []sample
}

// table compares rows.
type table struct {
	rows []*row
	bare *row // the command by itself
}

// walls returns the wall times of all runs.
func (r *row) walls() []time.Duration {
	walls := make([]time.Duration, len(r.samples))
	for i, s := range r.samples {
		walls[i] = s.wall
	}
	return walls
}

// peak returns the most memory of any run, in bytes.
func (r *row) peak() int64 {
	return slices.MaxFunc(r.samples, func(a, b sample) int { return cmp.Compare(a.peak, b.peak) }).peak
}

// ratio returns the median over the rounds of the row's wall time to the other's.
func (r *row) ratio(to *row) float64 {
	ratios := make([]float64, len(r.samples))
	for i, s := range r.samples {
		ratios[i] = float64(s.wall) / float64(to.samples[i].wall)
	}
	return quantile.Of(ratios, 0.5)
}

func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tmedian\tp10\tp90\tto bare\tto floor\ttarget\tpeak memory\t")
	width := 0
	for _, r := range t.rows {
		width = max(width, len(r.name))
	}
	for _, r := range t.rows {
		walls := r.walls()
		ms := func(q float64) string { return fmt.Sprintf("%.2f ms", float64(quantile.Of(walls, q))/1e6) }
		toFloor, target := "", ""
		if r.floor != nil {
			toFloor, target = fmt.Sprintf("%.2f", r.ratio(r.floor)), fmt.Sprintf("%g", r.most)
		}
		fmt.Fprintf(tw, "%-*s\t%s\t%s\t%s\t%.2f\t%s\t%s\t%.1f MiB\t\n", width, r.name, ms(0.5), ms(0.1), ms(0.9),
			r.ratio(t.bare), toFloor, target, float64(r.peak())/(1<<20))
	}
	return tw.Flush()
}

// missed lists the targets that aren't met. binary is miosa-env's size in bytes.
func (t *table) missed(binary int64) []string {
	var missed []string
	for _, r := range t.rows {
		if r.floor == nil {
			continue
		}
		if ratio := r.ratio(r.floor); ratio > r.most {
			missed = append(missed, fmt.Sprintf("%s takes %.2f times the floor, at most %g wanted", r.name, ratio, r.most))
		}
		if r.peak() > maxPeak {
			missed = append(missed, fmt.Sprintf("%s needs %.1f MiB, at most %d wanted", r.name, float64(r.peak())/(1<<20), maxPeak>>20))
		}
	}
	if binary > maxBinary {
		missed = append(missed, fmt.Sprintf("miosa-env has %.2f MB, at most %.0f wanted", float64(binary)/1e6, maxBinary/1e6))
	}
	return missed
}
