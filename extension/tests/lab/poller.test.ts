import { describe, expect, it } from 'vitest';

import schema from '../../schema/plugin.json';

import { DEFAULT_REFRESH_S, Poller } from '../../src/lab/poller.js';
import { Store } from '../../src/shared/store.js';
import type { Overview } from '../../src/shared/wire.js';
import { StoppedTime, overview, settled } from '../samples.js';

/** A server that gives these answers in turn, the last again and again. */
function serverOf(...answers: (Overview | Error)[]): {
  asked: (string | null)[];
  overview(since: string | null): Promise<Overview>;
} {
  const asked: (string | null)[] = [];
  return {
    asked,
    overview: (since) => {
      const answer = answers[Math.min(asked.length, answers.length - 1)] ?? overview();
      asked.push(since);
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  };
}

function pollerOf(
  server: { overview(since: string | null): Promise<Overview> },
  time = new StoppedTime(),
  everyMs = 3000,
): { poller: Poller; store: Store } {
  const store = new Store(time);
  return { poller: new Poller(server, store, everyMs, time), store };
}

describe('the poller', () => {
  it('asks from the revision that is known, and for all where something was missed', async () => {
    const server = serverOf(
      overview(),
      overview({ revision: 'e.7', whole: false, deployments: [], live: ['unheard-of'] }),
      overview({ revision: 'e.8' }),
    );
    const { poller, store } = pollerOf(server);

    await poller.refresh();
    await poller.refresh();
    await poller.refresh();

    expect(server.asked).toEqual([null, 'e.1', null]);
    expect(store.state.deployments).toHaveLength(1);
  });

  it('asks again after its pause, and slower while no answer comes', async () => {
    const time = new StoppedTime();
    const server = serverOf(overview(), new Error('gone'), new Error('gone'), overview());
    const { poller, store } = pollerOf(server, time);

    poller.start();
    await settled();
    expect(time.pauses).toEqual([3000]);
    time.pass(3000);
    await settled();
    expect(store.state.problem).toBe('gone');
    expect(store.state.deployments).toHaveLength(1);
    expect(time.pauses).toEqual([6000]);
    time.pass(6000);
    await settled();
    expect(time.pauses).toEqual([12000]);
    time.pass(12000);
    await settled();
    expect(store.state.problem).toBeNull();
    expect(time.pauses).toEqual([3000]);
  });

  it('tells a change within five seconds, even where every answer takes two', async () => {
    const time = new StoppedTime();
    let isChanged = false;
    const { poller, store } = pollerOf(
      {
        overview: () =>
          new Promise((resolve) => {
            const answer = overview(isChanged ? { deployments: [] } : {}); // as it was when asked
            time.after(2000, () => {
              resolve(answer);
            });
          }),
      },
      time,
      DEFAULT_REFRESH_S * 1000,
    );
    poller.start();
    const pass = async (milliseconds: number): Promise<void> => {
      for (let passed = 0; passed < milliseconds; passed += 100) {
        time.pass(100);
        await settled();
      }
    };
    await pass(2000);
    expect(store.state.deployments).toHaveLength(1);
    await pass(600); // the next question has just been asked
    isChanged = true;
    await pass(5000);

    expect(store.state.deployments).toEqual([]);
  });

  it('has the pace of the settings, which say what else is asked', () => {
    expect(schema.properties.refreshSeconds.default).toBe(DEFAULT_REFRESH_S);
    expect(schema.properties.refreshSeconds.description).toContain('providers are asked every 30');
  });

  it('asks no more once it is stopped', async () => {
    const time = new StoppedTime();
    const server = serverOf(overview());
    const { poller } = pollerOf(server, time);

    poller.start();
    poller.stop();
    await settled();
    time.pass(60_000);
    await settled();

    expect(server.asked).toHaveLength(1);
    expect(time.pauses).toEqual([]);
  });

  it('has one question under way at a time, and another after a change', async () => {
    const server = serverOf(overview());
    const { poller } = pollerOf(server);

    await Promise.all([poller.refresh(), poller.refresh()]);
    expect(server.asked).toHaveLength(1);
    await Promise.all([poller.refresh(), poller.refreshAfterChange()]);
    expect(server.asked).toHaveLength(3);
  });
});
