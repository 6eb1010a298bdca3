/** The sidebar's prices: what compute is offered, once somebody asks. */

import { button, element, meantBy, show } from '../shared/dom.js';
import type { Child } from '../shared/dom.js';
import { NARROW, devices } from '../shared/offering_rows.js';
import type { OfferingRow } from '../shared/offering_rows.js';
import { OfferingsTable } from '../shared/offerings.js';
import { problemView } from '../shared/problem.js';
import { plain } from '../shared/text.js';
import type { Problem } from '../shared/wire.js';
import { wordsOf } from './api.js';
import type { Offering } from './api.js';
import type { Controller } from './controller.js';
import type { StartForm } from './start.js';

type Asks = 'offerings' | 'copyOffering' | 'deployOffering';

export class Prices {
  readonly root: HTMLElement;
  private readonly bar = element('div');
  private readonly table = new OfferingsTable({ columns: NARROW, tools: toolsOf });
  private offerings: readonly Offering[] = [];

  /** `start` knows the model that an offering is for. */
  constructor(
    private readonly controller: Pick<Controller, Asks>,
    private readonly start: StartForm,
  ) {
    this.root = element('section', { 'aria-label': 'Prices' }, this.bar, this.table.root);
    this.table.root.hidden = true;
    this.draw(false);
    this.root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant) {
        void this.carryOut(meant.action, meant.key);
      }
    });
  }

  private draw(isAsking: boolean, problem: Problem | null = null): void {
    const label = isAsking ? 'Asking …' : 'Ask for prices';
    show(
      this.bar,
      button(label, 'offerings', 'Ask every provider for its prices', { disabled: isAsking }),
      problem && problemView(problem),
    );
  }

  private async carryOut(action: string, key: string): Promise<void> {
    const offering = this.offerings[Number(key)];
    if (action === 'offerings') {
      await this.ask();
    } else if (action === 'copy-offering' && offering) {
      await this.controller.copyOffering(offering, this.start.typed);
    } else if (action === 'deploy-offering' && offering) {
      const model = this.start.wanted();
      if (model !== null) {
        await this.controller.deployOffering(offering, model);
      }
    }
  }

  private async ask(): Promise<void> {
    this.draw(true);
    try {
      const { offerings, failures } = await this.controller.offerings();
      this.offerings = offerings;
      this.table.root.hidden = false;
      this.table.show({
        title: '',
        at: new Date().toISOString(),
        has_plan: false,
        can_deploy: false,
        rows: offerings.map(rowOf),
        failures,
      });
      this.draw(false);
    } catch (error) {
      this.draw(false, { message: wordsOf(error) });
    }
  }
}

/** A row of the table; its key is the offering's place in the answer. */
function rowOf(one: Offering, index: number): OfferingRow {
  return {
    key: `${index}`,
    fits: null,
    why: '',
    gpu: one.accelerator ?? 'CPU',
    count: one.accelerator === null ? 1 : one.count,
    gib: one.total_gib,
    usd_per_hour: one.usd_per_hour,
    usd_per_gib: one.usd_per_gib_hour,
    usd_per_mtok: null,
    tokens_per_s: null,
    speed_range: '',
    availability: one.availability,
    as_of: one.availability_as_of,
    region: one.region ?? '',
    provider: one.provider,
    launchable: one.launchable,
  };
}

function toolsOf(one: OfferingRow): Child[] {
  if (!one.launchable) {
    return ['price only'];
  }
  const what = plain(devices(one), 80);
  return [
    button('Copy', 'copy-offering', `Copy a cell that deploys on ${what}`),
    // How many of them a deployment is to have can be said in a cell only.
    one.count <= 1 && button('Deploy', 'deploy-offering', `Deploy the model above on ${what}`),
  ];
}
