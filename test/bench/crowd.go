package main

import (
	"sync"
	"time"
)

// crowd calls do for 0 to n-1, so many at a time, and returns how many a second
// went well, and what went wrong.
func crowd(parallel, n int, do func(i int) error) (rate float64, failed []error) {
	work := make(chan int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for range parallel {
		wg.Go(func() {
			for i := range work {
				if err := do(i); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return float64(n-len(failed)) / time.Since(begin).Seconds(), failed
}
