import { describe, expect, it } from 'vitest';

import schema from '../schema/plugin.json';

import type { Overview } from '../src/api.js';
import { DEFAULT_REFRESH_S, Store, ageOf, spentBy, todayBy, untilMoment } from '../src/store.js';
import { StoppedTime, deployment, overview, settled } from './samples.js';

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

describe('the store', () => {
  it('asks from the revision that it has, and keeps what has not changed', async () => {
    const one = deployment({ key: 'one', name: 'one' });
    const two = deployment({ key: 'two', name: 'two' });
    const server = serverOf(
      overview({ revision: 'e.1', deployments: [one, two] }),
      overview({
        revision: 'e.2',
        whole: false,
        deployments: [{ ...two, status: 'stopping' }],
        live: ['one', 'two'],
      }),
    );
    const store = new Store(server, 3000, new StoppedTime());

    await store.refresh();
    await store.refresh();

    expect(server.asked).toEqual([null, 'e.1']);
    expect(store.state.deployments.map((d) => d.status)).toEqual(['running', 'stopping']);
  });

  it('drops what is not there any more', async () => {
    const server = serverOf(
      overview({ deployments: [deployment({ key: 'one' }), deployment({ key: 'two' })] }),
      overview({ whole: false, deployments: [], live: ['two'] }),
    );
    const store = new Store(server, 3000, new StoppedTime());

    await store.refresh();
    await store.refresh();

    expect(store.state.deployments.map((d) => d.key)).toEqual(['two']);
  });

  it('asks for everything again when it has missed something', async () => {
    const server = serverOf(
      overview(),
      overview({ revision: 'e.7', whole: false, deployments: [], live: ['unheard-of'] }),
      overview({ revision: 'e.8' }),
    );
    const store = new Store(server, 3000, new StoppedTime());

    await store.refresh();
    await store.refresh();
    await store.refresh();

    expect(server.asked).toEqual([null, 'e.1', null]);
    expect(store.state.deployments).toHaveLength(1);
  });

  it('asks again after its pause, and slower while no answer comes', async () => {
    const time = new StoppedTime();
    const server = serverOf(overview(), new Error('gone'), new Error('gone'), overview());
    const store = new Store(server, 3000, time);

    store.start();
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
    const store = new Store(
      {
        overview: () =>
          new Promise((resolve) => {
            const answer = overview(isChanged ? { deployments: [] } : {}); // as it was when asked
            time.after(2000, () => {
              resolve(answer);
            });
          }),
      },
      DEFAULT_REFRESH_S * 1000,
      time,
    );
    store.start();
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
    const store = new Store(server, 3000, time);

    store.start();
    store.stop();
    await settled();
    time.pass(60_000);
    await settled();

    expect(server.asked).toHaveLength(1);
    expect(time.pauses).toEqual([]);
  });

  it('has one question under way at a time, and another after a change', async () => {
    const server = serverOf(overview());
    const store = new Store(server, 3000, new StoppedTime());

    await Promise.all([store.refresh(), store.refresh()]);
    expect(server.asked).toHaveLength(1);
    await Promise.all([store.refresh(), store.refreshAfterChange()]);
    expect(server.asked).toHaveLength(3);
  });
});

describe('what is told of a state', () => {
  it('grows with time', async () => {
    const time = new StoppedTime();
    const store = new Store(serverOf(overview()), 3000, time);
    expect(ageOf(store.state, time.now())).toBeNull();
    await store.refresh();
    time.pass(3_600_000);

    expect(ageOf(store.state, time.now())).toBe(3_602_000);
    expect(todayBy(store.state, time.now())).toBeCloseTo(1.68);
    expect(spentBy(store.state, deployment(), time.now())).toBeCloseTo(1.68);
  });

  it('counts by the clock of the server, whatever this one says', async () => {
    const time = new StoppedTime();
    time.at += 9_999_999;
    const store = new Store(serverOf(overview()), 3000, time);
    await store.refresh();
    time.pass(60_000);

    expect(untilMoment(store.state, '2026-11-27T12:38:00Z', time.now())).toBe(37 * 60_000);
  });
});
